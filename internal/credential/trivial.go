package credential

import "strings"

// trivial tells whether a PIN, all digits, is easy to guess whoever has it.
func trivial(pin string) bool {
	return fewDigits(pin) || runOrLine(pin) || allConsecutive(pin) || repeatedGroup(pin)
}

// fewDigits tells whether fewer than three different digits occur.
func fewDigits(pin string) bool {
	var seen uint16
	for i := range len(pin) {
		seen |= 1 << (pin[i] - '0')
	}
	seen &= seen - 1 // one digit less
	seen &= seen - 1
	return seen == 0
}

// runOrLine tells whether three digits in a row are the same, or lie on a
// straight line of the keypad at equal steps. A keypad of three by four has no
// room for steps of more than one key.
func runOrLine(pin string) bool {
	for i := 2; i < len(pin); i++ {
		x0, y0 := keyAt(pin[i-2])
		x1, y1 := keyAt(pin[i-1])
		x2, y2 := keyAt(pin[i])
		if x1-x0 == x2-x1 && y1-y0 == y2-y1 {
			return true
		}
	}
	return false
}

// keyAt returns column and row of a digit's key: 123, 456, 789, and 0 below 8.
func keyAt(digit byte) (x, y int) {
	if digit == '0' {
		return 1, 3
	}
	n := int(digit - '1')
	return n % 3, n / 3
}

// allConsecutive tells whether each digit is one more, or each one less, than
// the digit before, 0 being the neighbour of 1 and of 9.
func allConsecutive(pin string) bool {
	up, down := true, true
	for i := 1; i < len(pin); i++ {
		step := (pin[i] - pin[i-1] + 10) % 10
		up = up && step == 1
		down = down && step == 9
	}
	return up || down
}

// repeatedGroup tells whether three digits in a row occur again further on.
func repeatedGroup(pin string) bool {
	for i := 0; i+6 <= len(pin); i++ {
		if strings.Contains(pin[i+3:], pin[i:i+3]) {
			return true
		}
	}
	return false
}
