// The shop's own web server: the pages, /health and /version.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';

const service = JSON.parse(await readFile('service.json', 'utf8'));
const name = process.env.RENDER_SERVICE_NAME ?? 'shop';
const commit = process.env.RENDER_GIT_COMMIT ?? 'unknown';
const own = { ...service, ...service.services?.[name] };
const since = Date.now();
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };

function healthy() {
  if (own.health === 'failing') return false;
  return Date.now() - since < (own.health?.failing_after_ms ?? Infinity);
}

async function page(path) {
  const file = path === '/' ? 'index.html' : path.slice(1);
  if (!/^[a-z.-]+$/.test(file)) throw new Error('not found');
  const bytes = await readFile(`dist/${file}`);
  if (!file.endsWith('.html')) return bytes;
  const values = { message: own.message ?? '', commit, service: name };
  return bytes.toString().replace(/\{\{(\w+)\}\}/g, (_, key) => values[key]);
}

createServer(async (request, response) => {
  const path = new URL(request.url, 'http://shop').pathname;
  response.setHeader('x-commit', commit);
  if (path === '/health') {
    response.statusCode = healthy() ? 200 : 500;
    return response.end(JSON.stringify({ status: healthy() ? 'ok' : 'failing' }));
  }
  if (path === '/version') return response.end(JSON.stringify({ commit, service: name }));
  try {
    const body = await page(path);
    response.setHeader('content-type', types[extname(path) || '.html'] ?? 'text/plain');
    response.end(body);
  } catch {
    response.statusCode = 404;
    response.end('not found\n');
  }
}).listen(process.env.PORT ?? 3000);
