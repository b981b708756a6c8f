// Drawn for this page: 20 × 20, one stroke.
const draw = (d: string) => (
  <svg class="icon" viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d={d} /></svg>
);

export const icons = {
  live: draw("M2 10h3l2.5-6 4 12 2.5-6h4"),
  player: draw("M10 9.5a3.2 3.2 0 1 0 0-6.400 3.2 3.2 0 0 0 0 6.400zM3.500 17c.6-3.300 3.200-5 6.500-5s5.900 1.700 6.500 5"),
  decision: draw("M10 3v4M10 7L4.500 12M10 7l5.500 5M2.500 12h4v4h-4zM13.500 12h4v4h-4z"),
  review: draw("M3 4h14M3 9h8M3 14h5M11 14.500l2.200 2.200L17.500 12"),
  model: draw("M10 2.500l6.500 3.700v7.600L10 17.500l-6.500-3.700V6.200zM3.700 6.300L10 10l6.300-3.700M10 10v7.300"),
  experiment: draw("M8 2.500h4M8.700 2.500v5L4 15.500c-.5 1 .2 2 1.300 2h9.400c1.100 0 1.800-1 1.300-2l-4.700-8v-5M6.300 12.500h7.400"),
  letter: draw("M2.500 5h15v10.500h-15zM2.800 5.500L10 11l7.200-5.500"),
  rule: draw("M10 3v14M6 17h8M4 6h12M4 6l-2 5.500a2.300 2.300 0 0 0 4.200 0zM16 6l-2.200 5.500a2.300 2.300 0 0 0 4.200 0z"),
  change: draw("M10 5.500V10l3 2M10 2.500a7.500 7.500 0 1 1-7.200 5.300M2.500 3.500v4.300h4.300"),
  approve: draw("M2.500 10.500l3.500 3.500 7-8M9.500 13l1 1 7-8"),
  person: draw("M10 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 16.500c.6-3 3-4.500 6-4.500s5.400 1.500 6 4.500"),
  sun: draw("M10 13.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100"),
  moon: draw("M16.500 11.800A7 7 0 0 1 8.200 3.500a7 7 0 1 0 8.300 8.300z"),
  auto: draw("M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14"),
  pause: draw("M7 4.500v11M13 4.500v11"),
  play: draw("M6.500 4l9 6-9 6z"),
  arrow: draw("M4 10h12M11.500 5.500L16 10l-4.500 4.500"),
  search: draw("M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM13 13l4 4"),
};
