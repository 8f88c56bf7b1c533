import { useState } from 'preact/hooks';
import { checkSession } from '../api/session.ts';

interface Props {
  readonly src: string;
  readonly alt: string;
  /** shown where there is no picture, for reports and the like */
  readonly fallback: string;
  readonly lazy?: boolean;
}

/** A rendered image of the archive. What has no pixels, or pixels nobody can draw, says so instead of a broken image. */
export function Picture({ src, alt, fallback, lazy = false }: Props) {
  const [state, setState] = useState<{ src: string; is: 'loading' | 'shown' | 'failed' }>({ src, is: 'loading' });
  const is = state.src === src ? state.is : 'loading';
  return (
    <span class="picture" data-state={is}>
      {is === 'failed' ? (
        <span class="no-picture">{fallback}</span>
      ) : (
        <img
          src={src}
          alt={alt}
          loading={lazy ? 'lazy' : 'eager'}
          decoding="async"
          onLoad={() => setState({ src, is: 'shown' })}
          onError={() => {
            setState({ src, is: 'failed' });
            checkSession();
          }}
        />
      )}
    </span>
  );
}
