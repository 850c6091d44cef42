"""The plugin configurations of the documents, as they stand there, but for the last two (see there)."""

from __future__ import annotations

import re

AGGREGATION = """\
name: request-callout
enabled: true
config:
  callouts:
    - name: c1
      request:
        method: GET
        url: http://httpbin.org/uuid
      response:
        body:
          decode: true
    - name: c2
      request:
        method: GET
        url: http://httpbin.org/anything
      response:
        body:
          decode: true
  upstream:
    by_lua: kong.response.exit(200, { uuid = kong.ctx.shared.callouts.c1.response.body.uuid,
      origin = kong.ctx.shared.callouts.c2.response.body.url})
protocols:
  - grpc
  - grpcs
  - http
  - https
"""

ORCHESTRATION = """\
name: request-callout
enabled: true
config:
  callouts:
    - name: c1
      request:
        method: GET
        url: https://jsonplaceholder.typicode.com/users/1
      response:
        body:
          decode: true
    - name: c2
      request:
        method: GET
        url: https://jsonplaceholder.typicode.com/posts
        query:
          custom:
            userId: $(callouts.c1.response.body.id)
      response:
        body:
          decode: true
  upstream:
    by_lua: |
      local user = kong.ctx.shared.callouts.c1.response.body
      local posts = kong.ctx.shared.callouts.c2.response.body
      -- Filter posts (e.g., only those with user matching)
      local filtered_posts = {}
      for _, post in ipairs(posts) do
        if post.userId == user.id then
          table.insert(filtered_posts, post)
        end
      end
      local combined = {
        user = user,
        posts = filtered_posts
      }
      kong.response.set_header("Content-Type", "application/json")
      kong.response.exit(200, combined)
protocols:
  - http
  - https
"""

AUTH_INJECTION = """\
name: request-callout
config:
  callouts:
    - name: auth
      request:
        url: "{vault://kcsvault/TOKEN_URL}"
        method: POST
        body:
          custom:
            grant_type: client_credentials
            client_id: "{vault://kcsvault/CLIENT_ID}"
            client_secret: "{vault://kcsvault/CLIENT_SECRET}"
            audience: https://api.apiprimer.com
      response:
        body:
          store: true
          decode: true
  upstream:
    headers:
      custom:
        Authorization: Bearer $(callouts.auth.response.body.access_token)
"""

AUTH_INSERT = """\
name: request-callout
config:
  callouts:
    - name: auth1
      request:
        url: https://run.mocky.io/v3/3d380788-e25f-4101-970b-70e95eacf892
        method: GET
        query:
          forward: true
      response:
        body:
          store: true
          decode: true
  upstream:
    headers:
      custom:
        Authorization: Bearer $(callouts.auth1.response.body.token)
"""

RETRY = """\
name: request-callout
config:
  callouts:
    - name: auth1
      request:
        url: https://run.mocky.io/v3/3d380788-e25f-4101-970b-70e95eacf892
        method: GET
        query:
          forward: true
        error:
          http_statuses: [500, 502, 503]
          retries: 3
      response:
        body:
          store: true
          decode: true
  upstream:
    headers:
      custom:
        Authorization: Bearer $(callouts.auth1.response.body.token)
"""

CACHE = """\
name: request-callout
config:
  callouts:
    - name: auth1
      request:
        url: https://run.mocky.io/v3/3d380788-e25f-4101-970b-70e95eacf892
        method: GET
        query:
          forward: true
        error:
          http_statuses: [500, 502, 503]
          retries: 3
      response:
        body:
          store: true
          decode: true
  upstream:
    headers:
      custom:
        Authorization: Bearer $(callouts.auth1.response.body.token)
  cache:
    strategy: memory
    cache_ttl: 360
"""

COLLAPSING = """\
name: request-callout
config:
  callouts:
    - name: c1
      request:
        url: http://httpbin.org/uuid
        method: GET
      response:
        body:
          decode: true
    - name: c2
      request:
        url: http://httpbin.org/anything
        method: GET
      response:
        body:
          decode: true
  upstream:
    by_lua: kong.response.exit(200, { uuid = kong.ctx.shared.callouts.c1.response.body.uuid, origin = kong.ctx.shared.callouts.c2.response.body.url})
"""  # noqa: E501 - one line in the document

# The document has strategy redis here, with its host and port.
CACHE_KEY = """\
name: request-callout
config:
  callouts:
    - name: auth1
      request:
        url: https://run.mocky.io/v3/3d380788-e25f-4101-970b-70e95eacf892
        method: GET
        query:
          forward: true
        error:
          http_statuses: [500]
          retries: 3
      response:
        body:
          store: true
          decode: true
        by_lua: kong.ctx.shared.callouts.auth1.caching.cache_key = 'some_key'
  upstream:
    headers:
      custom:
        Authorization: Bearer $(callouts.auth1.response.body.token)
  cache:
    strategy: memory
    cache_ttl: 360
"""

# The other half, as later documentation has it: the key is set in the script of the request.
CACHE_KEY_LOOK_UP = re.sub(
    r"        query:\n",
    "        by_lua: kong.ctx.shared.callouts.auth1.caching.cache_key = 'some_key'\n        query:\n",
    re.sub(r"        by_lua: .*\n", "", CACHE_KEY),
)
