-- Lengths of lists as the outputs have them; a value that is no list has none.
select o.run, o.task, case
    when o.parts = 0 then case json_typeof(o.value) when 'array' then json_array_length(o.value) end
    when o.is_list then (select sum(json_array_length(p.value::json)) from output_part p
      where p.run = o.run and p.task = o.task and p.map_index = o.map_index and p.key = o.key)::integer
  end as length
from unnest($1::uuid[], $2::smallint[]) as w (run, task)
join output o on o.run = w.run and o.task = w.task and o.map_index = -1 and o.key = 'return_value'
