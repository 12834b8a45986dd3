import { Title } from "./side.tsx";

export function TourPanel() {
  return <Title>Tour</Title>;
}
