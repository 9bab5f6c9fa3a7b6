"""How does a daemon follow a certificate that was renewed?"""

import asyncio
from collections.abc import Callable

from relayd.api import Certificate
from relayd.errors import ConfigError
from relayd.journal import Journal


class CertificateWatch:
    """Looks at the files of a certificate, and has new ones read.

    Args:
        certificate: What clients are shown.
        seconds: Returns how often it is looked at.
    """

    def __init__(self, certificate: Certificate, seconds: Callable[[], float]) -> None:
        self._certificate = certificate
        self._seconds = seconds
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<CertificateWatch of {self._certificate!r}>"

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._seconds())
            await self.look()

    async def look(self) -> None:
        """Look once; files that cannot be used change nothing."""
        try:
            if await asyncio.to_thread(self._certificate.refresh):
                self._journal.info("tls.renewed", certificate=repr(self._certificate))
        except ConfigError as error:
            self._journal.warning("tls.not_renewed", message=error.message)
