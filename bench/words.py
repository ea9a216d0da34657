"""Numbers as one reads them."""

MEGABYTE = 1 << 20


def duration(milliseconds):
    if milliseconds < 10:
        return '%.2f ms' % milliseconds
    if milliseconds < 1000:
        return '%.0f ms' % milliseconds
    return '%.2f s' % (milliseconds / 1000) if milliseconds < 100_000 else '%.0f s' % (milliseconds / 1000)


def megabytes(size):
    return '%.*f MB' % (size < 10 * MEGABYTE, size / MEGABYTE)


def count(n):
    return '%g million' % (n / 1e6) if n >= 1_000_000 else '{:,}'.format(n)
