package server

// SaysPattern reports whether callers are told in words what a pattern means.
func SaysPattern(pattern string) bool { return patternWords[pattern] != "" }

// ReadAll reads a body of which so much was announced.
var ReadAll = readAll
