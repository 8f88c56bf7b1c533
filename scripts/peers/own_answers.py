"""Leaves the answers of pynetdicom's requestors to those who wait for them; imported for that alone.

A thread of each association (Association._run_reactor) looks for requests of the peer, and is told to stand still while an answer is
awaited. On a busy machine it wakes too late to see that, takes the answer itself and drops it: who waits for it does so to the end of his
patience. Here it is shown none: a requestor is asked for nothing but N-EVENT-REPORT, which has a thread of its own, and C-STORE within
C-GET, which who waits for the answers takes.
"""

from pynetdicom.dimse import DIMSEServiceProvider

_take = DIMSEServiceProvider.get_msg


def _take_own(self, block=False):
    return _take(self, block) if block or self.assoc.is_acceptor else (None, None)


DIMSEServiceProvider.get_msg = _take_own
