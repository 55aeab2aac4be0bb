// As much of Express as the sample of the console needs.

import { createServer } from 'node:http';

const express = () => {
  const routes = new Map();
  const app = {
    post: (path, _raw, handler) => routes.set(path, handler) && app,
    listen: (port) =>
      createServer(async (request, response) => {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        request.body = Buffer.concat(chunks);
        response.sendStatus = (status) => response.writeHead(status).end();
        const handler = routes.get(request.url) ?? (() => response.sendStatus(404));
        handler(request, response);
      }).listen(port, '127.0.0.1'),
  };
  return app;
};
express.raw = () => undefined;

export default express;
