-- Deletes the state of windows that ended by the given time, because no record can be added to them. That time never decreases.
with closed as (
    update stream s set closed_before = greatest(s.closed_before, $2) where s.name = $1 returning s.closed_before
)
delete from stream_window w using closed c
where w.stream = $1 and w.window_end <= c.closed_before - $3::float8 * interval '1 second'
