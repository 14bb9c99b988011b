-- Whoever takes the wait away has answered: a second one finds none, nor does one who comes when its time is over.
with woken as (
    update waiting set kind = null, give_up_at = null, wake_at = now(),
        answer = json_build_object('met', json_build_object(
            'chosen_options', $2::text::json -> 'chosen_options', 'params_input', $2::text::json -> 'params_input',
            'responded_at', now(), 'responded_by_user', $3::text, 'timed_out', false))
    where attempt = $1 and kind = 'answer' and (give_up_at is null or give_up_at > now())
    returning attempt
)
update approval a set ended_at = now(), given = $2::text::json, given_by = $3
from woken where a.attempt = woken.attempt
returning a.ended_at as "ended_at!"
