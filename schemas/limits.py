"""Bounds of the protocol, each with its reason."""

SUBMISSION = 1024 * 1024  # one event with all its seals; larger material is a document reference
SECTION = 256 * 1024  # the largest padding class
BUNDLE_COUNT = 500  # one Ed25519 check amortised well below the cost of parsing
BUNDLE_BYTES = 8 * 1024 * 1024  # what a connector may make the gateway hold at once
RECIPIENTS = 8  # 1 routing item + 8 recipient items + 19 sections fit 32 digests
SECTIONS = 19  # one per category
DIGESTS = 32  # fixed, so that nobody learns how many items there are
ENTRY = 4 * 1024  # an audit entry holds codes, never text
ACT = 16 * 1024  # a consent act holds codes; what is stored of it must fit every later answer
CALL = 64 * 1024  # any synchronous call but a bundle and an invitation
INBOX_ITEMS = 200  # most items of one answer
INBOX_BYTES = 4 * 1024 * 1024  # and most bytes, but for a first item that is larger by itself
WAIT_MS = 20_000  # longest wait of a fetch: below what proxies and clients give up at
SEATS_WITHOUT = 1000  # lost seats named in one fetch; of more than these the deliveries are handed over in vain
PROOFS = 500  # leaf hashes in one call
PADDING_CLASSES = (256, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024)
SENT_BACK_US = 30 * 24 * 3600 * 1_000_000  # a delivery is not older than the longest shelf life and a holiday
SENT_AHEAD_US = 5 * 60 * 1_000_000  # clock difference between two agencies
CAPSULE = 4096  # bytes of a place in its capsule: every place is as long as every other
APPROVALS = 100  # rule sets that a unit approves in one call; it approves a few a year
