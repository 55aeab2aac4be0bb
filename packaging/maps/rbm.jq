# Events of Google's RCS for Business: the webhook's body (message.data in base64), or what
# is in it. Texts of users and typing make no event. docs/brokers.md says what becomes of what.
# Change these functions to what your messages have.
def account: $message.headers.account; # or by the agent: {"brand@rbm.goog": "acc_1"}[.agentId]
def message: .messageId;               # your id of the message; .messageId is the one it was sent with
def customer: $message.headers["customer-message"]; # the account's own id, or null

def need($name): if . == null or . == "" then error("\($name) is missing") else . end;
def words: {DELIVERED: "DELIVERED", READ: "READ", TTL_EXPIRATION_REVOKED: "EXPIRED", TTL_EXPIRATION_REVOKE_FAILED: "EXPIRED",
  IS_TYPING: "", SUBSCRIBE: "", UNSUBSCRIBE: ""};

if type != "object" then error("the message is not a JSON object") else . end
| (.message.publishTime? // null) as $published
| if .message.data? then .message.data | try (@base64d | fromjson) catch error("message.data is not JSON in base64") else . end
| select(.eventType) # what has none is a message of a user
| .eventType as $word
| (words[$word] // error("eventType \($word | tojson) is not known")) as $status
| select($status != "")
| (.sendTime // $published) as $time
| {id: (["rbm", (.messageId | need("messageId")), $word] | digest), accountId: (account | need("the header account")), messageId: message,
   customerMessageId: customer, channel: "RCS", destination: (.senderPhoneNumber // .phoneNumber | need("senderPhoneNumber (or phoneNumber)")),
   status: $status, final: (if $word == "TTL_EXPIRATION_REVOKE_FAILED" then false else null end),
   timestamp: ($time // $message.time), timestampSource: (if $time then null else "PLATFORM" end),
   error: (if $status == "EXPIRED" then {code: "TTL_EXPIRED", permanent: false, provider: {name: "rbm", code: $word}} else null end)}
| with_entries(select(.value != null))
