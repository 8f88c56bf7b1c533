import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type RunningServer, startServer } from './processes.ts';

export interface Nginx extends RunningServer {
  readonly origin: string;
  /** The same paths as under a DICOMweb root, whatever the query string says. */
  readonly root: string;
  /** Serve these bytes at a path under the root. */
  put(path: string, body: Uint8Array, options?: { gzip?: boolean }): void;
}

/**
 * The physical limit of reading on this machine: prepared answers as files, sent by sendfile. `POST {root}/studies`
 * keeps the body in a file and answers 200, unsynced: the limit of receiving.
 */
export async function startNginx(options: { port: number; dir: string }): Promise<Nginx> {
  const files = join(options.dir, 'files');
  mkdirSync(files, { recursive: true });
  const configFile = join(options.dir, 'nginx.conf');
  writeFileSync(
    configFile,
    `daemon off; master_process off; pid ${options.dir}/nginx.pid; error_log ${options.dir}/error.log;
events { worker_connections 512; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000; gzip off; gzip_static on;
  open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path ${options.dir}/body; proxy_temp_path ${options.dir}/proxy; fastcgi_temp_path ${options.dir}/fcgi;
  uwsgi_temp_path ${options.dir}/uwsgi; scgi_temp_path ${options.dir}/scgi;
  client_max_body_size 0; client_body_buffer_size 64k;
  upstream self { server 127.0.0.1:${options.port}; keepalive 16; }
  server {
    listen 127.0.0.1:${options.port};
    root ${files};
    location = /ready { return 200 'ready'; }
    location /dicomweb/ {
      default_type application/octet-stream;
      if ($request_method = POST) { rewrite ^ /store last; }
      rewrite ^/dicomweb/(.*)$ /$1.body break;
    }
    location = /store {
      internal; client_body_in_file_only clean; proxy_pass http://self/ready; proxy_method GET; proxy_pass_request_body off;
      proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Content-Length '';
    }
  }
}
`,
  );
  const origin = `http://127.0.0.1:${options.port}`;
  const server = await startServer({
    command: '/usr/sbin/nginx',
    args: ['-p', options.dir, '-c', configFile, '-e', join(options.dir, 'error.log')],
    logFile: join(options.dir, 'nginx.log'),
    readyUrl: `${origin}/ready`,
  });
  return {
    ...server,
    origin,
    root: `${origin}/dicomweb`,
    put: (path, body, { gzip = false } = {}) => {
      const file = join(files, `${path}.body`);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, body);
      if (gzip) writeFileSync(`${file}.gz`, gzipSync(body));
    },
  };
}
