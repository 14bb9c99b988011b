# Enough records for the offsets that the guide names.
until_ok "$BINARY" topics show weather
seq 1 40 | sed 's/.*/{"city": "Oslo", "temperature": "&", "ts": "2026-11-22-06"}/' | orch topics produce weather
