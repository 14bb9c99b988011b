until_ok "$BINARY" topics show readings
