package gen

// ListedAttempt is the document's DeliveryAttempt: whatever an attempt has, and the
// event that it was to bring.
type ListedAttempt struct {
	EventID   EventID   `json:"eventId"`
	MessageID MessageID `json:"messageId"`
	Attempt
}
