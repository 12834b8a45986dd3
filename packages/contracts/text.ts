import { Kind, Type, TypeRegistry } from "@sinclair/typebox";

interface TextOptions {
  minLength: number;
  maxLength: number;
  pattern: string;
}

/**
 * Text that people type: at least one visible character, and no line breaks, bidirectional controls
 * or terminal control characters. Half of a surrogate pair is not a character.
 */
const PATTERN =
  "^(?=.*[^\\p{White_Space}\\p{Default_Ignorable_Code_Point}\\u2800])[^\\p{Cc}\\p{Cs}\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]*$";
const pattern = new RegExp(PATTERN, "u");

/**
 * A text of 1 to `maxLength` characters as JSON Schema counts them: code points. `Type.String`
 * counts UTF-16 units, so an emoji would count as two.
 */
export function Text(maxLength: number) {
  return Type.Unsafe<string>({
    [Kind]: "Text",
    type: "string",
    minLength: 1,
    maxLength,
    pattern: PATTERN,
    description: "with something to be seen in it, and no control characters",
  });
}

TypeRegistry.Set<TextOptions>(
  "Text",
  ({ maxLength }, value) =>
    typeof value === "string" &&
    // A code point is one or two units.
    (value.length <= maxLength ||
      (value.length <= 2 * maxLength && Array.from(value).length <= maxLength)) &&
    pattern.test(value),
);
