import com.fasterxml.jackson.core.JsonProcessingException;
import java.net.URI;
import java.util.List;
import recapito.ApiClient;
import recapito.ApiException;
import recapito.api.DeliveriesApi;
import recapito.api.WebhooksApi;
import recapito.model.AttemptOutcome;
import recapito.model.DeliveryState;
import recapito.model.Problem;
import recapito.model.TestEventInput;
import recapito.model.TestSampleInput;
import recapito.model.WebhookInput;

/**
 * Walks through the life of a webhook with the client that OpenAPI Generator makes, and prints what
 * it sees: the scenario of docs/contract.md.
 */
public final class Scenario {
  private static final URI FIRST = URI.create(System.getenv("RECAPITO_CALLBACK") + "/first");
  private static final URI SECOND = URI.create(System.getenv("RECAPITO_CALLBACK") + "/second");

  public static void main(String[] args) throws Exception {
    var client = connect(System.getenv("RECAPITO_API_KEY"));
    var webhooks = new WebhooksApi(client);
    var deliveries = new DeliveriesApi(client);

    var created = webhooks.createWebhookWithHttpInfo(new WebhookInput().callbackUrl(FIRST));
    var webhook = created.getData();
    say("register", created.getStatusCode(), webhook.getStatus(), webhook.getCallbackUrl().equals(FIRST));

    var read = webhooks.getWebhookWithHttpInfo();
    say("read", read.getStatusCode(), read.getData().getStatus(), read.getData().getId().equals(webhook.getId()));

    var conflict = refused(() -> webhooks.createWebhook(new WebhookInput().callbackUrl(SECOND)));
    say("conflict", conflict.getStatus(), conflict.getTitle());

    var replaced = webhooks.replaceWebhookWithHttpInfo(new WebhookInput().callbackUrl(SECOND));
    say("replace", replaced.getStatusCode(), replaced.getData().getCallbackUrl().equals(SECOND));

    var bad = refused(() -> webhooks.replaceWebhook(new WebhookInput().callbackUrl(URI.create("https://10.0.0.1/"))));
    say("bad URL", bad.getStatus(), bad.getErrors().get(0).getPointer());

    var rotated = webhooks.rotateSigningSecretWithHttpInfo();
    say("rotate", rotated.getStatusCode(), !rotated.getData().getSigningSecret().equals(webhook.getSigningSecret()));

    var test = webhooks.sendTestEventWithHttpInfo(new TestEventInput().sample(TestSampleInput.RCS_READ));
    var diagnosis = test.getData();
    say("test", test.getStatusCode(), diagnosis.getVerdict(), diagnosis.getPayload().getEventType(), diagnosis.getAttempt().getStatusCode());

    var list = deliveries.listDeliveriesWithHttpInfo(
            List.of(DeliveryState.DELIVERED), null, null, null, null, null, null, null, null, null, null, null, null, null);
    var newest = list.getData().getDeliveries().get(0);
    say("list", list.getStatusCode(), list.getData().getDeliveries().size(), newest.getEventId(), newest.getState());

    var detail = deliveries.getDeliveryWithHttpInfo(newest.getEventId());
    var attempt = detail.getData().getAttempts().get(0);
    say("delivery", detail.getStatusCode(), detail.getData().getPayload().getStatus(), attempt.getStatusCode());

    var tried = deliveries.listAttemptsWithHttpInfo(null, null, AttemptOutcome.ACKNOWLEDGED, null, null, null, null);
    var made = tried.getData().getAttempts();
    say("attempts", tried.getStatusCode(), made.size(), made.get(0).getEventId(), made.get(0).getStatusCode());

    var feed = deliveries.readEventsWithHttpInfo(null, 10, null);
    var oldest = feed.getData().getEvents().get(0);
    var rest = deliveries.readEvents(feed.getData().getNextCursor(), null, null);
    say(
        "events",
        feed.getStatusCode(),
        feed.getData().getEvents().size(),
        oldest.getEventId(),
        oldest.getPayload().getStatus(),
        rest.getEvents().isEmpty());

    var deleted = webhooks.deleteWebhookWithHttpInfo();
    var gone = refused(webhooks::getWebhook);
    say("delete", deleted.getStatusCode(), gone.getStatus(), gone.getTitle());

    var unauthorized = refused(new WebhooksApi(connect("wrong"))::getWebhook);
    say("wrong key", unauthorized.getStatus(), unauthorized.getDetail());
  }

  private static ApiClient connect(String key) {
    var client = new ApiClient();
    client.updateBaseUri(System.getenv("RECAPITO_URL"));
    client.setRequestInterceptor(request -> request.header("X-API-Key", key));
    return client;
  }

  private interface Call {
    Object make() throws ApiException;
  }

  /** The problem that the call is answered with. */
  private static Problem refused(Call call) throws JsonProcessingException {
    try {
      throw new IllegalStateException("not refused: " + call.make());
    } catch (ApiException e) {
      return ApiClient.createDefaultObjectMapper().readValue(e.getResponseBody(), Problem.class);
    }
  }

  private static void say(String step, Object... seen) {
    var line = new StringBuilder(step + ":");
    for (var s : seen) {
      line.append(' ').append(s);
    }
    System.out.println(line);
  }
}
