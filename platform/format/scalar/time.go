package scalar

// The problems of times.
const (
	NotATime Problem = "is not an RFC 3339 time like 2006-01-02T15:04:05Z"
	NoZone   Problem = "has no zone: add Z or an offset like +02:00"
	NotADate Problem = "is not a date like 2006-01-02"
)

const (
	secondsPerDay = 86400
	microsPerSec  = 1000000
	daysPerEra    = 146097 // 400 years
	daysToEpoch   = 719468 // from 0000-03-01 to 1970-01-01
)

// ParseTime reads an RFC 3339 time as microseconds since 1970. Digits below a
// microsecond are cut. A blank may stand for the T.
func ParseTime(s []byte) (int64, Problem) {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' ||
		(s[10] != 'T' && s[10] != 't' && s[10] != ' ') {
		return 0, NotATime
	}
	days, p := ParseDate(s[:10])
	hour, minute, second := two(s[11:]), two(s[14:]), two(s[17:])
	if p != "" || hour > 23 || minute > 59 || second > 60 { // 60: a leap second counts as the next second
		return 0, NotATime
	}
	micros := (int64(days)*secondsPerDay + int64(hour*3600+minute*60+second)) * microsPerSec
	s = s[19:]
	if len(s) > 0 && s[0] == '.' {
		n, unit := 1, int64(microsPerSec)
		for ; n < len(s) && s[n] >= '0' && s[n] <= '9'; n++ {
			unit /= 10
			micros += int64(s[n]-'0') * unit
		}
		if n == 1 {
			return 0, NotATime
		}
		s = s[n:]
	}
	if len(s) == 1 && (s[0] == 'Z' || s[0] == 'z') {
		return micros, ""
	}
	if len(s) == 0 {
		return 0, NoZone
	}
	if len(s) != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':' || two(s[1:]) > 23 || two(s[4:]) > 59 {
		return 0, NotATime
	}
	offset := int64(two(s[1:])*3600+two(s[4:])*60) * microsPerSec
	if s[0] == '-' {
		offset = -offset
	}
	return micros - offset, ""
}

// ParseDate reads YYYY-MM-DD as days since 1970.
func ParseDate(s []byte) (int32, Problem) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, NotADate
	}
	high, low, month, day := two(s), two(s[2:]), two(s[5:]), two(s[8:])
	if high > 99 || low > 99 {
		return 0, NotADate
	}
	year := high*100 + low
	if month < 1 || month > 12 || day < 1 || day > monthDays(year, month) {
		return 0, NotADate
	}
	return int32(daysOf(year, month, day)), ""
}

// two reads two digits; anything else gives more than any field may have.
func two(s []byte) int {
	a, b := s[0]-'0', s[1]-'0'
	if a > 9 || b > 9 {
		return 1000
	}
	return int(a)*10 + int(b)
}

func monthDays(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysOf counts from 1970 with years that begin in March, so that the leap day
// is the last of its year (Hinnant, chrono-compatible low-level date algorithms).
func daysOf(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return era*daysPerEra + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - daysToEpoch
}

func civil(days int) (year, month, day int) {
	days += daysToEpoch
	era := floorDiv(days, daysPerEra)
	ofEra := days - era*daysPerEra
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	m := (5*ofYear + 2) / 153
	day = ofYear - (153*m+2)/5 + 1
	month = m + 3
	year = yearOfEra + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// AppendTime writes microseconds since 1970 as RFC 3339 in UTC, with as many
// fractional digits as needed and none for whole seconds. Years beyond 9999 have
// more digits, years before 0 a sign; RFC 3339 has no form for either.
func AppendTime(dst []byte, micros int64) []byte {
	seconds, rest := micros/microsPerSec, micros%microsPerSec
	if rest < 0 {
		seconds--
		rest += microsPerSec
	}
	days, ofDay := seconds/secondsPerDay, int(seconds%secondsPerDay)
	if ofDay < 0 {
		days--
		ofDay += secondsPerDay
	}
	dst = AppendDate(dst, days)
	dst = append(dst, 'T')
	dst = append2(dst, ofDay/3600)
	dst = append(dst, ':')
	dst = append2(dst, ofDay/60%60)
	dst = append(dst, ':')
	dst = append2(dst, ofDay%60)
	if rest != 0 {
		dst = append(dst, '.')
		for unit := int64(microsPerSec / 10); rest != 0; unit /= 10 {
			dst = append(dst, byte('0'+rest/unit))
			rest %= unit
		}
	}
	return append(dst, 'Z')
}

// AppendDate writes days since 1970 as YYYY-MM-DD.
func AppendDate(dst []byte, days int64) []byte {
	year, month, day := civil(int(days))
	if year < 0 {
		dst = append(dst, '-')
		year = -year
	}
	if year > 9999 {
		dst = appendYear(dst, year/10000)
		year %= 10000
	}
	dst = append2(append2(dst, year/100), year%100)
	dst = append2(append(dst, '-'), month)
	return append2(append(dst, '-'), day)
}

func appendYear(dst []byte, n int) []byte {
	if n >= 10 {
		dst = appendYear(dst, n/10)
	}
	return append(dst, byte('0'+n%10))
}

func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
