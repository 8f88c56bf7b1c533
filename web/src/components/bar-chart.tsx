import { useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface Bar {
  /** another for each bar */
  readonly id: string;
  readonly label: string;
  readonly value: number;
  /** the value in words */
  readonly said: string;
  /** has not happened yet */
  readonly isProjected?: boolean;
}

const HEIGHT = 220;
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 4, 10, 24];
const LINES = 4;
/** until it is measured, and where nothing can be (px) */
const USUAL_WIDTH = 720;
/** that a label needs (px) */
const LABEL_WIDTH = 36;

/**
 * Columns over time. For screen readers it is one picture with a sentence; who wants the numbers finds them in the table that stands
 * beside it.
 */
export function BarChart({
  bars,
  label,
  said,
}: {
  bars: readonly Bar[];
  /** what the picture shows, in a sentence */
  label: string;
  /** a value of the scale in words */
  said: (value: number) => string;
}) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const most = scaleOf(Math.max(0, ...bars.map(({ value }) => value)));
  const step = (width - LEFT - RIGHT) / Math.max(1, bars.length);
  // The last one, which is to come, always has its label.
  const isLabelled = (n: number) => step >= LABEL_WIDTH || (bars.length - 1 - n) % Math.ceil(LABEL_WIDTH / step) === 0;
  const heightOf = (value: number) => (most === 0 ? 0 : (value / most) * (HEIGHT - TOP - BOTTOM));
  const lines = most === 0 ? [0] : Array.from({ length: LINES + 1 }, (_, n) => (most * n) / LINES);
  return (
    <div ref={frame} class="bar-chart">
      <svg width={width} height={HEIGHT} role="img" aria-label={label}>
        {lines.map((value) => {
          const y = HEIGHT - BOTTOM - heightOf(value);
          return (
            <g key={value}>
              <line x1={LEFT} x2={width - RIGHT} y1={y} y2={y} />
              <text x={LEFT - 8} y={y + 4} text-anchor="end">
                {said(value)}
              </text>
            </g>
          );
        })}
        {bars.map(({ id, label, value, said, isProjected }, n) => {
          const height = heightOf(value);
          const x = LEFT + n * step + step * 0.18;
          return (
            <g key={id}>
              <rect
                class={isProjected ? 'projected' : undefined}
                x={x}
                y={HEIGHT - BOTTOM - height}
                width={step * 0.64}
                height={height}
                rx="2"
              >
                <title>{`${label}: ${said}`}</title>
              </rect>
              {isLabelled(n) && (
                <text x={x + step * 0.32} y={HEIGHT - 6} text-anchor="middle">
                  {label}
                </text>
              )}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

/** px that an element has, as they change */
function useWidth(element: { readonly current: HTMLElement | null }): number {
  const [width, setWidth] = useState(USUAL_WIDTH);
  useLayoutEffect(() => {
    const { current } = element;
    if (current === null) return;
    const measure = () => setWidth(current.clientWidth || USUAL_WIDTH);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** The end of a scale up to `most` whose quarters are round in units of `base` (bytes: 1024). */
export function scaleOf(most: number, base = 1024): number {
  if (most <= 0) return 0;
  const unit = base ** Math.floor(Math.log(most) / Math.log(base));
  const count = most / unit;
  const power = 10 ** Math.floor(Math.log10(count));
  const round = [1, 2, 4, 8, 10].find((n) => n * power >= count) ?? 10;
  return round * power * unit;
}
