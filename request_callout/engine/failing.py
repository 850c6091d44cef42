"""What an error of a callout means for the client, where its policy does not go on after it."""

from __future__ import annotations

from request_callout.engine.answer import Answer, CalloutError, Ended, text_answer
from request_callout.engine.call import Call
from request_callout.engine.expression import Scope
from request_callout.engine.outcome import after_error, keep_outcome
from request_callout.values import raw


def failed(call: Call, error: CalloutError) -> Ended:
    """The end of the request that an error of this call means; raises ScriptError where its message fails."""
    keep_outcome(call, after_error(call, error))
    call.run.context.finish(call.name, call.record)
    return Ended(error_answer(call, call.run.context), error.message)


def error_answer(call: Call, scope: Scope) -> Answer:
    """The answer that the configuration has for an error of this callout."""
    body = raw(call.callout.error_message.render(scope))
    return text_answer(call.callout.config.request.error.error_response_code, body)
