package transfer

// CopyIn is Copy with batches of so many rows.
var CopyIn = copyIn
