"""Hand out OSS V4 presigned PUT URLs; `index.handler` is the way in."""
