// Import this before Elysia, which reads NODE_ENV once. In any other mode it
// describes a validation error by printing the value: slow, and an object with
// a `toString` of its own makes it throw, a 500 for a bad request.
Bun.env["NODE_ENV"] = "production";

// What a service calls is its neighbour, and never behind the proxy that a shell, or Docker's own
// settings, may name: Bun's fetch would send the call there.
Bun.env["NO_PROXY"] = "*";
Bun.env["no_proxy"] = "*";
