# Delivery receipts of SMPP: each deliver_sm as a JSON object, with the field names of the
# specification (short_message, source_addr, …). docs/brokers.md says what becomes of what.
# Change these functions to what your messages have.
def account: $message.headers.account;
def message: $message.headers.message // .receipt; # your id of the message; .receipt is the provider's
def customer: $message.headers["customer-message"];    # the account's own id, or null
def provider: "smpp"; # a name for each provider, if an id of one may be another's too
def zone: "Z";    # of the receipt's dates, which have none: "Z" is UTC; "+01:00" and so on
def cause: {}[.]; # the error code of an err. Its numbers are each provider's own. Often they are GSM MAP's:
# def cause: {"1": "UNKNOWN_SUBSCRIBER", "9": "BARRED", "12": "BARRED", "13": "BARRED", "21": "NOT_SUPPORTED",
#   "34": "NETWORK_FAILURE", "40": "HANDSET_MEMORY_FULL", "60": "ABSENT_SUBSCRIBER", "61": "ABSENT_SUBSCRIBER"}[.];

def need($name): if . == null or . == "" then error("\($name) is missing") else . end;
def words: {SCHEDULED: "ACCEPTED", ENROUTE: "SENT", DELIVRD: "DELIVERED", EXPIRED: "EXPIRED", DELETED: "CANCELLED",
  UNDELIV: "UNDELIVERABLE", ACCEPTD: "ACCEPTED", UNKNOWN: "UNKNOWN", REJECTD: "REJECTED", SKIPPED: "REJECTED"};
def states: ["SCHEDULED", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD", "SKIPPED"];
def permanent: IN("UNKNOWN_SUBSCRIBER", "BARRED", "NOT_SUPPORTED", "SENDER_NOT_ALLOWED", "CONTENT_BLOCKED", "OPTED_OUT", "RECIPIENT_UNREACHABLE");

# What the receipt says under a name, before the message's own text begins.
def says($name): [sub("(?is)\\btext:.*"; "") | capture("(?i)\\b\($name):(?<value>\\S+)")][0].value;

# YYMMDDhhmm, with or without seconds or a century.
def instant:
  if test("^([0-9]{10}|[0-9]{12}|20[0-9]{12})$") | not then error("done date \(tojson) is not YYMMDDhhmm") else . end
  | if length == 14 then .[2:] else . end + "00"
  | "20\(.[0:2])-\(.[2:4])-\(.[4:6])T\(.[6:8]):\(.[8:10]):\(.[10:12])\(zone)";

def number:
  if .source_addr_ton == 2 then error("source_addr \(.source_addr | tojson) is a national number (source_addr_ton 2)") else . end
  | .source_addr | need("source_addr") | ltrimstr("+")
  | if test("^[1-9][0-9]{1,14}$") then "+\(.)" else error("source_addr \(tojson) is not an international number") end;

def trouble($stat; $err; $status):
  if $status | IN("EXPIRED", "REJECTED", "UNDELIVERABLE") then
    ((($err // "" | sub("^0+"; "")) | cause) // if $status == "EXPIRED" then "TTL_EXPIRED" else "OTHER" end) as $code
    | {code: $code, permanent: ($code | permanent), provider: {name: provider, code: ($err // $stat), details: "stat:\($stat)"}}
  else null end;

if type != "object" then error("the message is not a JSON object with short_message") else . end
| if .esm_class != null and (.esm_class / 4 | floor) % 16 == 0 then empty else . end # a text, no receipt
| (.short_message | if type == "object" then .message else . end // "") as $text
| (.receipted_message_id // ($text | says("id")) | need("id (or receipted_message_id)")) as $id
| (($text | says("stat")) // (.message_state | if type == "number" then states[.] else null end)
  | need("stat (or message_state)") | ascii_upcase) as $stat
| (words[$stat] // error("stat \($stat | tojson) is not known")) as $status
| ($text | says("done date")) as $done
| ($done == null or ($done | test("^0+$"))) as $undated
| {id: ([provider, $id, $stat] | digest), accountId: (account | need("the header account")), messageId: (. + {receipt: $id} | message),
   customerMessageId: customer, channel: "SMS", destination: number, status: $status,
   timestamp: (if $undated then $message.time else $done | instant end), timestampSource: (if $undated then "PLATFORM" else null end),
   part: .part, error: trouble($stat; $text | says("err"); $status)}
| with_entries(select(.value != null))
