type Body = NonNullable<RequestInit['body']>;

/**
 * As much of the browser's XMLHttpRequest as the npm package dicomweb-client uses, on fetch: so that the very client of the
 * viewers runs here without a browser.
 */
export class FetchXMLHttpRequest {
  responseType = '';
  readyState = 0;
  status = 0;
  statusText = '';
  response: unknown = null;
  withCredentials = false;
  timeout = 0;
  onloadstart: (() => void) | null = null;
  onloadend: (() => void) | null = null;
  onreadystatechange: (() => void) | null = null;
  ontimeout: (() => void) | null = null;
  onprogress: ((event: unknown) => void) | null = null;
  readonly upload = { onprogress: null };
  #method = 'GET';
  #url = '';
  readonly #headers = new Headers();
  #received = new Headers();

  open(method: string, url: string): void {
    this.#method = method;
    this.#url = url;
  }

  setRequestHeader(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  getResponseHeader(name: string): string | null {
    return this.#received.get(name);
  }

  getAllResponseHeaders(): string {
    return [...this.#received].map(([name, value]) => `${name}: ${value}`).join('\r\n');
  }

  addEventListener(): void {}

  send(body?: Body | null): void {
    this.onloadstart?.();
    void this.#run(body ?? null);
  }

  async #run(body: Body | null): Promise<void> {
    try {
      const answer = await fetch(this.#url, { method: this.#method, headers: this.#headers, body });
      this.#received = answer.headers;
      this.status = answer.status;
      this.statusText = answer.statusText;
      this.response = await this.#decode(answer);
    } catch {
      this.status = 0;
    }
    this.readyState = 4;
    this.onreadystatechange?.();
    this.onloadend?.();
  }

  async #decode(answer: Response): Promise<unknown> {
    if (this.responseType === 'arraybuffer') return answer.arrayBuffer();
    const text = await answer.text();
    if (this.responseType !== 'json') return text;
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }
}
