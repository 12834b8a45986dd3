/** The tour: the assignment's experiments as steps, each with a prediction that is locked before the run. */
export interface TourStep {
  id: string;
  /** Of the assignment: A3. */
  requirement: string;
  title: string;
  /** What will be done. */
  method: string;
  question: string;
  answers: [string, string, string];
  state: "open" | "running" | "done";
  /** Index of the answer that was predicted; locked from then on. */
  predicted: number | null;
  /** Index of the answer that this run has shown. */
  right: number | null;
  /** What was measured, in words; or why the run failed. */
  says: string;
  /** The measured number, with its unit in the name. */
  figure: [name: string, value: number] | null;
}
