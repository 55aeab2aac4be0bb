"""As much of Flask as the sample of the console needs, on what Flask stands on."""

from werkzeug.serving import run_simple
from werkzeug.wrappers import Request, Response


class Current:
    def __getattr__(self, name):
        return getattr(self.now, name)


request = Current()


class Flask:
    def __init__(self, name):
        self.views = {}

    def post(self, path):
        return lambda view: self.views.setdefault(path, view)

    def run(self, port):
        @Request.application
        def answer(r):
            request.now = r
            return Response(*self.views[r.path]())

        run_simple("127.0.0.1", port, answer)
