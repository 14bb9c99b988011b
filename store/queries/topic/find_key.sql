-- The newest records with this key, oldest of them first, among the last of its partition.
select record_offset as "offset!", at as "at!", key, value, headers from (
    select r.* from topic_partition p join topic_record r using (topic_no, partition)
    where p.topic_no = $1 and p.partition = $2 and r.record_offset >= p.next_offset - $4::bigint and r.key = $3
    order by r.record_offset desc limit $5
) r order by record_offset
