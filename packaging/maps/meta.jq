# WhatsApp's statuses of Meta: the body of the webhook as it is. Bodies without statuses,
# such as those of incoming messages, make no event. docs/brokers.md says what becomes of what.
# Change these functions to what your messages have. Their input is one status, with the
# phone_number_id of its sender.
def account: $message.headers.account; # or by the sender: {"106540352242922": "acc_1"}[.phone_number_id]
def message: .id;                      # your id of the message; .id is Meta's
def customer: null;                    # the account's own id; .biz_opaque_callback_data, if that is where you have it

def need($name): if . == null or . == "" then error("\($name) is missing") else . end;
def words: {sent: "SENT", delivered: "DELIVERED", read: "READ", played: "READ", failed: "FAILED"};

# What Meta's codes mean (developers.facebook.com, WhatsApp, error codes). The first is the
# status in place of FAILED.
def causes: {
  "131026": ["UNDELIVERABLE", "RECIPIENT_UNREACHABLE"], "131047": ["REJECTED", "SESSION_WINDOW_CLOSED"],
  "131048": ["REJECTED", "RATE_LIMITED"], "131049": ["REJECTED", "MARKETING_CAP"], "131050": ["REJECTED", "OPTED_OUT"],
  "130472": ["REJECTED", "OTHER"], "131056": ["FAILED", "RATE_LIMITED"], "130429": ["FAILED", "RATE_LIMITED"],
  "131051": ["FAILED", "NOT_SUPPORTED"], "131031": ["FAILED", "SENDER_NOT_ALLOWED"],
  "131000": ["FAILED", "PROVIDER_ERROR"], "131016": ["FAILED", "PROVIDER_ERROR"]};
def permanent: IN("UNKNOWN_SUBSCRIBER", "BARRED", "NOT_SUPPORTED", "SENDER_NOT_ALLOWED", "CONTENT_BLOCKED", "OPTED_OUT", "RECIPIENT_UNREACHABLE");

def trouble:
  (.code | need("errors[0].code") | tostring) as $code
  | ((causes[$code] // ["FAILED", "OTHER"])[1]) as $ours
  | {code: $ours, permanent: ($ours | permanent), message: (.title // .message)[0:512],
     provider: ({name: "meta", code: $code, details: .error_data.details[0:1024]} | with_entries(select(.value != null)))}
  | with_entries(select(.value != null));

def event:
  (.id | need("id")) as $id
  | (.status | need("status")) as $word
  | (words[$word] // error("status \($word | tojson) is not known")) as $status
  | (.recipient_id // "" | test("^[1-9][0-9]{1,14}$")) as $numbered
  | ($numbered and .recipient_type != "group") as $person
  | {id: (["meta", $id, $word, .recipient_participant_id] | digest), accountId: (account | need("the header account")), messageId: message,
     customerMessageId: customer, channel: "WHATSAPP",
     destination: (if $person then "+" + .recipient_id else null end),
     recipientId: (if $person then null else .recipient_user_id // .recipient_id | need("recipient_id") end),
     status: (if $status == "FAILED" then causes[.errors[0].code | tostring][0] // $status else $status end),
     timestamp: (.timestamp | need("timestamp") | try (tonumber | todate) catch error("timestamp is not a number of seconds")),
     error: (if .errors[0] then .errors[0] | trouble else null end)}
  | with_entries(select(.value != null));

# The event of each status. What is wrong with some is said at the end; the others go on.
if type != "object" then error("the message is not the body of a webhook of Meta") else . end
| [.entry[]?.changes[]?.value | .metadata.phone_number_id as $sender | .statuses[]? + {phone_number_id: $sender}]
| [to_entries[] | .key as $nth | .value | try {event: event} catch {wrong: "statuses[\($nth)]: \(.)"}]
| (.[] | .event // empty), ([.[] | .wrong // empty] | if . == [] then empty else error(join("; ")) end)
