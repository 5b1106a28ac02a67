"""Net: libcurl on uvloop. The multi driver, recipes for handles, and the client where token → limit → send → retry
meet.
"""

from __future__ import annotations

from image_syncer.net.authorization import Authorization, Authorizer, Credentials, OneCredential
from image_syncer.net.blob_answer import BlobAnswer
from image_syncer.net.byte_budget import ByteBudgets, Metered
from image_syncer.net.client import RegistryClient
from image_syncer.net.curl_errors import judge_end, transport_error
from image_syncer.net.endpoints import EndpointBook, endpoints_of
from image_syncer.net.handles import AnswerHead, HandlePool, set_download, set_request, set_upload
from image_syncer.net.health import RegistryHealth
from image_syncer.net.in_flight_limit import InFlightLimit
from image_syncer.net.multi import ON_TRANSFER_END, CurlDriver
from image_syncer.net.reach import Reach
from image_syncer.net.request_limiter import OURSELVES, LocalRequestLimiter
from image_syncer.net.shared_work import share, shared_result
from image_syncer.net.throttle import RequestLimiter, Throttle
from image_syncer.net.token_broker import TokenBroker
from image_syncer.net.transport import ANSWER_SECONDS, BROKEN, RequestTally, TallyRow, Timeouts, Transport

__all__ = [
    "ANSWER_SECONDS",
    "BROKEN",
    "ON_TRANSFER_END",
    "OURSELVES",
    "AnswerHead",
    "Authorization",
    "Authorizer",
    "BlobAnswer",
    "ByteBudgets",
    "Credentials",
    "CurlDriver",
    "EndpointBook",
    "HandlePool",
    "InFlightLimit",
    "LocalRequestLimiter",
    "Metered",
    "OneCredential",
    "Reach",
    "RegistryClient",
    "RegistryHealth",
    "RequestLimiter",
    "RequestTally",
    "TallyRow",
    "Throttle",
    "Timeouts",
    "TokenBroker",
    "Transport",
    "endpoints_of",
    "judge_end",
    "set_download",
    "set_request",
    "set_upload",
    "share",
    "shared_result",
    "transport_error",
]
