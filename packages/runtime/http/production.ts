// Import this before Elysia, which reads NODE_ENV once. In any other mode it
// describes a validation error by printing the value: slow, and an object with
// a `toString` of its own makes it throw, a 500 for a bad request.
Bun.env["NODE_ENV"] = "production";

// A service calls its neighbours directly, never through the proxy that the shell or Docker's
// settings may configure: Bun's fetch would use that.
Bun.env["NO_PROXY"] = "*";
Bun.env["no_proxy"] = "*";
