/** Sets the faults of a service; what is left out is off. Throws when the service refuses. */
export async function setFaults(
  { url }: { url: string },
  faults: Record<string, number | boolean>,
): Promise<void> {
  const response = await fetch(`${url}/faults`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(faults),
  });
  if (!response.ok) throw new Error(`PUT /faults: ${await response.text()}`);
}
