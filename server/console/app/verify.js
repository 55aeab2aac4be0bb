// Code that verifies a callback, in six languages, at the account's own path. The first
// three use the Standard Webhooks library, the others what their language has.

/** @type {Record<string, (path: string) => string>} */
const samples = {
  'Node.js': path => `// npm install standardwebhooks express
import express from "express";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
express()
  .post("${path}", express.raw({ type: "application/json" }), (req, res) => {
    try {
      const event = webhook.verify(req.body, req.headers);
      res.sendStatus(204);
      handle(event); // work later
    } catch {
      res.sendStatus(401);
    }
  })
  .listen(3000);`,
  Python: path => `# pip install standardwebhooks flask
import os
from flask import Flask, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

app = Flask(__name__)
webhook = Webhook(os.environ["WEBHOOK_SECRET"])

@app.post("${path}")
def status():
    try:
        event = webhook.verify(request.get_data(), dict(request.headers))
    except WebhookVerificationError:
        return "", 401
    handle(event)  # work later
    return "", 204`,
  Go: path => `// go get github.com/standard-webhooks/standard-webhooks/libraries
webhook, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))
if err != nil {
	log.Fatal(err)
}
http.HandleFunc("POST ${path}", func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || webhook.Verify(body, r.Header) != nil {
		http.Error(w, "bad signature", http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	queue <- body // work later
})`,
  Java: path => `// Java 17, for "${path}": a missing header is an empty text; answer 401 if it is false, else 204.
static boolean genuine(String secret, String id, String timestamp, String signatures, byte[] body) throws Exception {
    if (!timestamp.matches("[0-9]{1,18}") || Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) > 300) return false;
    byte[] key = Base64.getDecoder().decode(secret.substring("whsec_".length()));
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(key, "HmacSHA256"));
    mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
    byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
    return Arrays.stream(signatures.split(" "))
        .anyMatch(s -> MessageDigest.isEqual(expected, s.getBytes(StandardCharsets.UTF_8)));
}`,
  PHP: path => `<?php // ${path}
$secret = base64_decode(substr(getenv('WEBHOOK_SECRET'), strlen('whsec_')));
$body = file_get_contents('php://input');
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $secret, true));
$genuine = abs(time() - (int) $timestamp) <= 300;
$matches = array_filter(explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? ''), fn ($s) => hash_equals($expected, $s));
if (!$genuine || !$matches) {
    http_response_code(401);
    exit;
}
http_response_code(204);
handle(json_decode($body, true)); // work later`,
  Ruby: path => `# gem install sinatra rackup puma
require 'sinatra'
require 'openssl'
require 'base64'

SECRET = Base64.decode64(ENV.fetch('WEBHOOK_SECRET').delete_prefix('whsec_'))

post '${path}' do
  body = request.body.read
  id, timestamp, signatures = %w[ID TIMESTAMP SIGNATURE].map { |h| request.env["HTTP_WEBHOOK_#{h}"].to_s }
  expected = 'v1,' + Base64.strict_encode64(OpenSSL::HMAC.digest('SHA256', SECRET, "#{id}.#{timestamp}.#{body}"))
  genuine = (Time.now.to_i - timestamp.to_i).abs <= 300 &&
    signatures.split.any? { |s| Rack::Utils.secure_compare(s, expected) }
  halt 401 unless genuine
  handle(JSON.parse(body)) # work later
  204
end`,
}

export const languages = Object.keys(samples)

/** A path as it may stand in a text of any of these languages. @param {string} url */
const pathOf = url => new URL(url).pathname.replace(/[^A-Za-z0-9/._~-]/g, '')

/** @param {string} language @param {string} url */
export const sample = (language, url) => samples[language](pathOf(url))
