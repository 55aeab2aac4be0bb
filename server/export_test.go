package server

// ReadAll reads a body of which so much was announced.
var ReadAll = readAll
