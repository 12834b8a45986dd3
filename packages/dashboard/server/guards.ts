// Who may read the page, and who may act: other pages in the same browser may do neither.

/** Nothing from elsewhere, no inline script, in no other page's frame. */
export const SECURITY_HEADERS: Record<string, string> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Where the address isn't the page's own: a name of another site may lead to this machine (DNS rebinding), where `Origin` would be right. */
export function isWrongHost(request: Request, port: number): boolean {
  return !namesOf(port).includes(request.headers.get("host") ?? "");
}

/** A change that another site's page asks for, or one without the key. */
export function isWrongWrite(request: Request, port: number, token: string): boolean {
  if (request.method === "GET" || request.method === "HEAD") return false;
  const origin = request.headers.get("origin");
  const isOurs = origin === null || namesOf(port).some((name) => origin === `http://${name}`);
  return !isOurs || request.headers.get("x-lab-key") !== token;
}

function namesOf(port: number): string[] {
  return [`127.0.0.1:${port}`, `localhost:${port}`];
}
