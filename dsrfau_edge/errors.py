"""The error tree: every failure a user can cause or meet, each with the exit code its command ends with.

A message says what happened, why, and which command or option fixes it.
"""


class DsrfauError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class UsageError(DsrfauError):
    """A value or combination of options makes no sense (an unknown AU, a precision a target does not have)."""

    exit_code = 2


class RuntimeUnavailable(DsrfauError):
    """The runtime or package that was asked for cannot be used on this device."""

    exit_code = 3


class EngineMismatch(RuntimeUnavailable):
    """An engine was built for another GPU, library version or platform than this one."""


class BundleError(DsrfauError):
    """A bundle is missing, corrupt, incomplete or of a schema this version does not read."""

    exit_code = 5


class InputError(DsrfauError):
    """An image, video or frame cannot be read or is not an image."""

    exit_code = 5


class DataError(DsrfauError):
    """A data set or checkpoint cannot be read, or its labels make no sense."""

    exit_code = 5


class CalibrationError(DsrfauError):
    """The int8 calibration set is missing, empty or unusable."""

    exit_code = 5


class VerificationFailed(DsrfauError):
    """A converted model differs from its reference by more than was allowed; nothing was written."""

    exit_code = 4
