// Package json reads and writes records that are one JSON object (RFC 8259),
// column by name. The scanner is its own, so that nothing is allocated per
// record and no number passes through a float on its way to a decimal.
//
// What is read: integers may be written with a point or an exponent if their
// value is whole; decimals as numbers or as strings; timestamps as RFC 3339
// text, or as numbers in a declared unit; dates as YYYY-MM-DD; binary in base 64.
// A missing field is null. Unknown fields are skipped, of a repeated one the last
// counts, of an escaped lone surrogate U+FFFD is left.
//
// It must not know where records come from.
package json
