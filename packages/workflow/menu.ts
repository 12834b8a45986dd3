/** The campus: `main` and `k01` to `k24`. A bulk stream goes through them by their numbers, `main` last. */
export const KITCHENS: readonly string[] = [
  "main",
  ...Array.from({ length: 24 }, (_, n) => `k${String(n + 1).padStart(2, "0")}`),
];

/** What every kitchen sells. */
export const SKUS: readonly string[] = ["burger", "fries", "pizza", "salad", "sushi", "taco"];

export const DEFAULT_KITCHEN = "main";
export const OPENING_STOCK = 100_000;
