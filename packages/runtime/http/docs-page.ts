/** The part of an OpenAPI document that the page shows. */
export interface ApiDocument {
  info: { title: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
}

interface Operation {
  summary?: string;
  description?: string;
  parameters?: { name: string; in: string; required?: boolean; schema?: Schema }[];
  requestBody?: { content: Record<string, { schema?: Schema }> };
  responses?: Record<string, { content?: Record<string, { schema?: Schema }> }>;
}

interface Schema {
  description?: string;
  examples?: unknown[];
}

/**
 * The document as a page without scripts, and without anything from another host: it is there on a
 * machine without a network, and a service serves it to whom it trusts least.
 */
export function docsPage({ info, paths }: ApiDocument, origin: string): Response {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) =>
      operationOf(method.toUpperCase(), path, operation, origin),
    ),
  );
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escape(info.title)}</title>
<style>${STYLE}</style>
<h1>${escape(info.title)}</h1>
<p>${escape(info.description ?? "")} <a href="/openapi/json">OpenAPI document</a> (JSON)</p>
${operations.join("\n")}
</html>
`;
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    },
  });
}

function operationOf(method: string, path: string, operation: Operation, origin: string): string {
  const { description, parameters = [], requestBody, responses = {}, summary } = operation;
  const body = Object.values(requestBody?.content ?? {})[0]?.schema;
  const answers = Object.entries(responses).map(([status, { content = {} }]) =>
    fold(`answer ${status}`, Object.values(content)[0]?.schema),
  );
  return [
    `<section><h2><code>${method}</code> <code>${escape(path)}</code></h2>`,
    `<p>${escape([summary, description].filter(Boolean).join(". "))}</p>`,
    `<pre>${escape(curl(method, `${origin}${path}`, body))}</pre>`,
    ...parameters.map(({ in: place, name, required, schema }) =>
      fold(`${place} ${name}${required ? "" : ", may be left out"}`, schema),
    ),
    ...(body ? [fold("body", body)] : []),
    ...answers,
    "</section>",
  ].join("\n");
}

/** The command that calls it, with the schema's own example. */
function curl(method: string, url: string, body: Schema | undefined): string {
  const verb = method === "GET" ? "" : ` -X ${method}`;
  if (!body) return `curl -i${verb} '${url}'`;
  const example = JSON.stringify(body.examples?.[0] ?? {});
  return `curl -i${verb} '${url}' -H 'content-type: application/json' -d '${example}'`;
}

function fold(title: string, schema: Schema | undefined): string {
  if (!schema) return `<p>${escape(title)}</p>`;
  return `<details><summary>${escape(title)}</summary><pre>${escape(JSON.stringify(schema, null, 2))}</pre></details>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid; padding: 0.5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 0.5rem 0; }
p { margin: 0.5rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.6rem; border: 1px solid; border-radius: 6px; font-size: 0.85rem; }
summary { cursor: pointer; padding: 0.15rem 0; }
`;
