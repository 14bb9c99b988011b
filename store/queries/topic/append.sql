select partition as "partition!", record_offset as "offset!", at as "at!" from append_records($1, $2, $3, $4, $5) order by nth
