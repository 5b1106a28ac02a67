"""Doctor: looks at a registry from its name to the last byte, as a run would meet it, and says what is wrong and what
to do. Each subject has its probes; `examination` runs them in order.
"""

from __future__ import annotations

from image_syncer.doctor.check import Check, CheckState
from image_syncer.doctor.examination import Examination, examine

__all__ = ["Check", "CheckState", "Examination", "examine"]
