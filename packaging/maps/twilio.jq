# Status callbacks of Twilio: the form's fields as a JSON object, all of them texts. It is for
# SMS, WhatsApp and RCS. docs/brokers.md says what becomes of what.
# Twilio says no time: the event has that of the broker's message. So a callback that Twilio
# sends twice is the same event at another time: feed it with --drop ID_REUSED.
# Change these functions to what your messages have.
def account: $message.headers.account;                 # or {"AC…": "acc_1"}[.AccountSid]
def message: $message.headers.message // .MessageSid;  # your id of the message; .MessageSid is Twilio's
def customer: $message.headers["customer-message"];    # the account's own id, or null

def need($name): if . == null or . == "" then error("\($name) is missing") else . end;
def words: {accepted: "ACCEPTED", scheduled: "ACCEPTED", queued: "ACCEPTED", sending: "ACCEPTED", sent: "SENT", delivered: "DELIVERED",
  read: "READ", undelivered: "UNDELIVERABLE", failed: "FAILED", canceled: "CANCELLED", receiving: "", received: ""};

# What Twilio's codes mean (www.twilio.com/docs/api/errors).
def causes: {"21610": "OPTED_OUT", "30002": "SENDER_NOT_ALLOWED", "30003": "ABSENT_SUBSCRIBER", "30004": "BARRED", "30005": "UNKNOWN_SUBSCRIBER",
  "30006": "NOT_SUPPORTED", "30007": "CONTENT_BLOCKED", "30034": "SENDER_NOT_ALLOWED", "30036": "TTL_EXPIRED",
  "63003": "RECIPIENT_UNREACHABLE", "63016": "SESSION_WINDOW_CLOSED", "63018": "RATE_LIMITED"};
def permanent: IN("UNKNOWN_SUBSCRIBER", "BARRED", "NOT_SUPPORTED", "SENDER_NOT_ALLOWED", "CONTENT_BLOCKED", "OPTED_OUT", "RECIPIENT_UNREACHABLE");

if type != "object" then error("the message is not a JSON object of the form's fields") else . end
| (.MessageSid | need("MessageSid")) as $id
| (.MessageStatus | need("MessageStatus")) as $word
| (words[$word] // error("MessageStatus \($word | tojson) is not known")) as $status
| select($status != "") # an incoming message
| (.To | need("To") | capture("^((?<channel>[a-z]+):)?(?<address>.+)$")) as $to
| ($to.address | test("^\\+[1-9][0-9]{1,14}$")) as $numbered
| (.ErrorCode // "" | tostring) as $code
| (if $code == "" or $code == "0" then null else causes[$code] // "OTHER" end) as $cause
| {id: (["twilio", $id, $word] | digest), accountId: (account | need("the header account")), messageId: message, customerMessageId: customer,
   channel: ({sms: "SMS", whatsapp: "WHATSAPP", rcs: "RCS"}[$to.channel // "sms"] // error("To is of the channel \($to.channel | tojson), which Recapito does not have")),
   destination: (if $numbered then $to.address else null end), recipientId: (if $numbered then null else $to.address end),
   status: (if $cause == "TTL_EXPIRED" then "EXPIRED" else $status end), timestamp: $message.time, timestampSource: "PLATFORM",
   error: (if $cause then {code: $cause, permanent: ($cause | permanent), provider: {name: "twilio", code: $code}} else null end)}
| with_entries(select(.value != null))
