import com.fasterxml.jackson.core.JsonProcessingException;
import java.net.URI;
import java.time.OffsetDateTime;
import java.util.List;
import recapito.ApiClient;
import recapito.ApiException;
import recapito.api.AccountsApi;
import recapito.api.DeliveriesApi;
import recapito.api.EventsApi;
import recapito.api.OperationsApi;
import recapito.api.WebhooksApi;
import recapito.model.AccountReplayInput;
import recapito.model.ApiKeyInput;
import recapito.model.AttemptOutcome;
import recapito.model.Channel;
import recapito.model.ConsoleLinkInput;
import recapito.model.DeliveryState;
import recapito.model.EndedState;
import recapito.model.EndpointState;
import recapito.model.EventBatch;
import recapito.model.EventInput;
import recapito.model.MessageStatus;
import recapito.model.Problem;
import recapito.model.ReplayFilters;
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
    var client = connect("X-API-Key", System.getenv("RECAPITO_API_KEY"));
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
            List.of(DeliveryState.DELIVERED), null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
    var newest = list.getData().getDeliveries().get(0);
    say("list", list.getStatusCode(), list.getData().getDeliveries().size(), newest.getEventId(), newest.getState());

    var detail = deliveries.getDeliveryWithHttpInfo(newest.getEventId());
    var attempt = detail.getData().getAttempts().get(0);
    say("delivery", detail.getStatusCode(), detail.getData().getPayload().getStatus(), attempt.getStatusCode());

    var tried = deliveries.listAttemptsWithHttpInfo(null, null, AttemptOutcome.ACKNOWLEDGED, null, null, null, null);
    var made = tried.getData().getAttempts();
    say("attempts", tried.getStatusCode(), made.get(0).getEventId(), made.get(0).getStatusCode());

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

    again(webhooks, deliveries, newest.getEventId());
    var platform = connect("Authorization", "Bearer " + System.getenv("RECAPITO_PLATFORM_KEY"));
    several(new AccountsApi(platform));
    provision(new AccountsApi(platform), new EventsApi(platform));
    var operations = new OperationsApi(platform);
    own(operations);

    var deleted = webhooks.deleteWebhookWithHttpInfo();
    var gone = refused(webhooks::getWebhook);
    say("delete", deleted.getStatusCode(), gone.getStatus(), gone.getTitle());

    var told = operations.listOperationsDeliveriesWithHttpInfo(null, "acc", null, null, null, null, null);
    var event = told.getData().getDeliveries().get(0).getPayload();
    var removed = operations.deleteOperationsWebhookWithHttpInfo();
    say("told", told.getStatusCode(), event.getEventType(), event.getAccountId(), removed.getStatusCode());

    var unauthorized = refused(new WebhooksApi(connect("X-API-Key", "wrong"))::getWebhook);
    say("wrong key", unauthorized.getStatus(), unauthorized.getDetail());
  }

  /** Asks how the endpoint does, and has events sent to it again. */
  private static void again(WebhooksApi webhooks, DeliveriesApi deliveries, String eventId) throws Exception {
    var sources = webhooks.getCallbackSourcesWithHttpInfo();
    say("sources", sources.getStatusCode(), sources.getData().getStated(), sources.getData().getNetworks().size());

    var health = deliveries.getHealthWithHttpInfo();
    say("health", health.getStatusCode(), health.getData().getState(), health.getData().getPending());

    var changes = deliveries.listHealthChangesWithHttpInfo(null, null);
    say("changes", changes.getStatusCode(), changes.getData().getChanges().size());

    var minutes = deliveries.listHealthMinutesWithHttpInfo(null, null);
    say("minutes", minutes.getStatusCode(), !minutes.getData().getMinutes().isEmpty());

    var probe = refused(webhooks::probeEndpoint);
    say("probe", probe.getStatus(), probe.getTitle());

    var sent = deliveries.replayDeliveryWithHttpInfo(eventId);
    say("send again", sent.getStatusCode(), sent.getData().getEventId(), sent.getData().getState());
    await(() -> deliveries.getDelivery(eventId).getState() == DeliveryState.DELIVERED);

    var started = deliveries.startReplayWithHttpInfo(new ReplayFilters().state(List.of(EndedState.DELIVERED)));
    var id = started.getData().getId();
    await(() -> deliveries.getReplay(id).getEndedAt() != null);
    var ended = deliveries.getReplay(id);
    say("replay", started.getStatusCode(), ended.getState(), ended.getMatched(), ended.getSentAgain(), ended.getRemaining());

    var replays = deliveries.listReplaysWithHttpInfo();
    say("replays", replays.getStatusCode(), !replays.getData().getReplays().isEmpty(), deliveries.stopReplay(id).getState());
  }

  /** What the platform does with accounts. */
  private static void several(AccountsApi accounts) throws Exception {
    var ranked = accounts.listAccountsWithHttpInfo(List.of(EndpointState.HEALTHY), null, null, null);
    var worst = ranked.getData().getAccounts().get(0);
    say("accounts", ranked.getStatusCode(), worst.getId(), worst.getState(), worst.getPending());

    var started = accounts.startAccountReplayWithHttpInfo(
            new AccountReplayInput().accountIds(List.of("acc")).filters(new ReplayFilters()));
    var id = started.getData().getId();
    await(() -> accounts.getAccountReplay(id).getEndedAt() != null);
    var ended = accounts.getAccountReplay(id);
    say("replay of several", started.getStatusCode(), ended.getState(), ended.getAccounts().getBegun());

    var replays = accounts.listAccountReplaysWithHttpInfo();
    say("replays of several", replays.getStatusCode(), !replays.getData().getReplays().isEmpty(), accounts.stopAccountReplay(id).getState());
  }

  /** Makes an account, hands in an event of it, and erases it. */
  private static void provision(AccountsApi accounts, EventsApi events) throws Exception {
    var id = "acc_new";
    var made = accounts.putAccountWithHttpInfo(id);
    var found = accounts.getAccountWithHttpInfo(id);
    say("account", made.getStatusCode(), found.getStatusCode(), found.getData().getId());

    var added = accounts.createApiKeyWithHttpInfo(id, new ApiKeyInput());
    var key = added.getData();
    var keys = accounts.listApiKeysWithHttpInfo(id);
    say("keys", added.getStatusCode(), keys.getStatusCode(), keys.getData().getApiKeys().get(0).getId().equals(key.getId()));

    var link = accounts.createConsoleLinkWithHttpInfo(id, new ConsoleLinkInput().minutes(5));
    say("console", link.getStatusCode(), link.getData().getPath().startsWith("/console#"));

    var webhooks = new WebhooksApi(connect("X-API-Key", key.getKey()));
    webhooks.createWebhook(new WebhookInput().callbackUrl(FIRST));
    var event = new EventInput()
            .id("evt_new").accountId(id).messageId("m-new").channel(Channel.SMS).destination("+393401234567")
            .status(MessageStatus.DELIVERED).timestamp(OffsetDateTime.now());
    var handed = events.sendEventsWithHttpInfo(new EventBatch().events(List.of(event)));
    say("hand in", handed.getStatusCode(), handed.getData().getAccepted(), handed.getData().getSkipped().size());

    var revoked = accounts.deleteApiKeyWithHttpInfo(id, key.getId());
    say("revoke", revoked.getStatusCode(), refused(webhooks::getWebhook).getStatus());

    var erased = accounts.deleteAccountWithHttpInfo(id);
    say("erase", erased.getStatusCode());
  }

  /** Asks how the service does, and registers the platform's own webhook. */
  private static void own(OperationsApi operations) throws Exception {
    var status = operations.getStatusWithHttpInfo();
    say("status", status.getStatusCode(), status.getData().getAttempting());

    var created = operations.createOperationsWebhookWithHttpInfo(new WebhookInput().callbackUrl(FIRST));
    var webhook = created.getData();
    var read = operations.getOperationsWebhook();
    say("platform", created.getStatusCode(), webhook.getStatus(), read.getId().equals(webhook.getId()));

    var replaced = operations.replaceOperationsWebhookWithHttpInfo(new WebhookInput().callbackUrl(SECOND));
    var rotated = operations.rotateOperationsSecretWithHttpInfo();
    var secret = rotated.getData().getSigningSecret();
    say("platform's own", replaced.getStatusCode(), rotated.getStatusCode(), !secret.equals(webhook.getSigningSecret()));
  }

  private interface Question {
    boolean ask() throws ApiException;
  }

  /** Asks until it is so, for a minute at most. */
  private static void await(Question so) throws Exception {
    for (var deadline = System.nanoTime() + 60_000_000_000L; !so.ask(); Thread.sleep(50)) {
      if (System.nanoTime() > deadline) {
        throw new IllegalStateException("waited for a minute in vain");
      }
    }
  }

  private static ApiClient connect(String header, String key) {
    var client = new ApiClient();
    client.updateBaseUri(System.getenv("RECAPITO_URL"));
    client.setRequestInterceptor(request -> request.header(header, key));
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
