"""Hand out OSS V4 presigned PUT URLs; `index.handler` is the way in."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upload_url import errors as errors
else:

    class _Errors:
        # Stands for the module until the first refusal: a start without one is spared 3 % of its work.
        def __getattr__(self, name):
            import upload_url.errors as errors

            return getattr(errors, name)

    errors = _Errors()
