-- Records of a partition from an offset on, as many as fit into so many bytes, and one at least.
select record_offset as "offset!", at as "at!", key, value, headers from (
    select *, sum(coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0)) over (order by record_offset) as bytes,
        row_number() over (order by record_offset) as nth
    from (
        select * from topic_record where topic_no = $1 and partition = $2 and record_offset >= $3 order by record_offset limit $4
    ) r
) r where nth = 1 or bytes <= $5 order by record_offset
