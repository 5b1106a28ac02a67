"""Net: libcurl on uvloop. The multi driver, recipes for handles, and the client where token → limit → send → retry
meet.
"""

from __future__ import annotations

from image_syncer.net.authorization import Authorization, Authorizer, Credentials, OneCredential
from image_syncer.net.blob_answer import BlobAnswer
from image_syncer.net.client import RegistryClient
from image_syncer.net.curl_errors import judge_end, transport_error
from image_syncer.net.endpoints import EndpointBook, endpoints_of
from image_syncer.net.gate import Gate
from image_syncer.net.handles import AnswerHead, HandlePool, set_download, set_request, set_upload
from image_syncer.net.health import RegistryHealth
from image_syncer.net.multi import ON_TRANSFER_END, CurlDriver
from image_syncer.net.purses import Metered, Purses
from image_syncer.net.reach import Reach
from image_syncer.net.request_tally import ANSWER_SECONDS, BROKEN, RequestTally, TallyRow
from image_syncer.net.shared_work import share, shared_result
from image_syncer.net.throttle import Throttle, Turns
from image_syncer.net.token_broker import TokenBroker
from image_syncer.net.transport import Timeouts, Transport
from image_syncer.net.turn_desk import OURSELVES, TurnDesk

__all__ = [
    "ANSWER_SECONDS",
    "BROKEN",
    "ON_TRANSFER_END",
    "OURSELVES",
    "AnswerHead",
    "Authorization",
    "Authorizer",
    "BlobAnswer",
    "Credentials",
    "CurlDriver",
    "EndpointBook",
    "Gate",
    "HandlePool",
    "Metered",
    "OneCredential",
    "Purses",
    "Reach",
    "RegistryClient",
    "RegistryHealth",
    "RequestTally",
    "TallyRow",
    "Throttle",
    "Timeouts",
    "TokenBroker",
    "Transport",
    "TurnDesk",
    "Turns",
    "endpoints_of",
    "judge_end",
    "set_download",
    "set_request",
    "set_upload",
    "share",
    "shared_result",
    "transport_error",
]
