// A real OpenID provider (npm `oidc-provider`) on a free port of loopback, for the end-to-end stories.
//
// It prints `READY <issuer>` once it listens. Besides the provider's own endpoints it has:
//   POST /test/login?sub=NAME   drives the code flow with PKCE as a browser would, and answers the token endpoint's JSON
//   POST /test/machine          the client credentials flow
//   POST /test/rotate           signs with new keys from now on, and publishes the old ones as well
//   POST /test/drop             publishes only the keys that it signs with
//   POST /test/pause?ms=N       answers each request for the keys N ms later
//   GET  /test/fetches          how often the keys were asked for

import http from 'node:http';
import * as crypto from 'node:crypto';
import { Provider } from 'oidc-provider';

const AUDIENCE = 'https://api.example.com';
const CALLBACK = 'http://127.0.0.1:1/callback';
const WEB = ['web', 'the secret of the web client'];
const MACHINE = ['machine', 'the secret of the machine client'];

const newKey = () => {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: crypto.randomUUID() };
};

const stored = new Map();
// What the provider remembers outlives a change of its keys.
class Memory {
  constructor(model) { this.model = model; }
  name(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) {
    stored.set(this.name(id), payload);
    if (payload.uid) stored.set(`uid:${payload.uid}`, id);
  }
  async find(id) { return stored.get(this.name(id)); }
  async findByUid(uid) { return this.find(stored.get(`uid:${uid}`)); }
  async findByUserCode() { return undefined; }
  async consume(id) { stored.get(this.name(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { stored.delete(this.name(id)); }
  async revokeByGrantId() {}
}

let keys = [newKey()];
let issuer;
let serve;
let pause = 0;
let fetches = 0;

const configure = () => new Provider(issuer, {
  adapter: Memory,
  jwks: { keys },
  clients: [
    { client_id: WEB[0], client_secret: WEB[1], redirect_uris: [CALLBACK], grant_types: ['authorization_code'] },
    { client_id: MACHINE[0], client_secret: MACHINE[1], redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
  ],
  cookies: { keys: ['only for tests'] },
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  scopes: ['openid', 'api'],
  pkce: { required: () => true },
  ttl: { AccessToken: 600, ClientCredentials: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'api', audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
    },
  },
}).callback();

const form = (fields, client) => ({
  method: 'POST',
  body: new URLSearchParams(fields),
  headers: client ? { authorization: `Basic ${Buffer.from(client.map(encodeURIComponent).join(':')).toString('base64')}` } : {},
});

const token = async (client, fields) => {
  const answer = await fetch(`${issuer}/token`, form(fields, client));
  return answer.text();
};

// The code flow, with the pages that the provider has for development.
const login = async (sub) => {
  const cookies = new Map();
  const go = async (url, options = {}) => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(url, { ...options, redirect: 'manual', headers: { ...options.headers, cookie } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/expires=Thu, 01 Jan 1970/i.test(line)) cookies.delete(name); else cookies.set(name, value);
    }
    return answer;
  };
  const verifier = crypto.randomBytes(32).toString('base64url');
  const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
  let url = `${issuer}/auth?${new URLSearchParams({
    client_id: WEB[0], response_type: 'code', scope: 'openid api', redirect_uri: CALLBACK,
    code_challenge: challenge, code_challenge_method: 'S256',
  })}`;
  for (let step = 0; step < 12 && !url.startsWith(CALLBACK); step += 1) {
    let answer = await go(url);
    if (answer.status === 200) {
      const page = await answer.text();
      const prompt = page.includes('name="login"') ? 'login' : 'consent';
      const [, action] = /action="([^"]+)"/.exec(page);
      answer = await go(new URL(action, url), form({ prompt, login: sub, password: 'any' }));
    }
    const next = answer.headers.get('location');
    if (!next) throw new Error(`${answer.status} ${await answer.text()}`);
    url = new URL(next, url).href;
  }
  const code = new URL(url).searchParams.get('code');
  return token(WEB, { grant_type: 'authorization_code', code, redirect_uri: CALLBACK, code_verifier: verifier });
};

const tests = {
  'POST /test/login': (query) => login(query.get('sub')),
  'POST /test/machine': () => token(MACHINE, { grant_type: 'client_credentials', scope: 'api' }),
  'POST /test/rotate': () => { keys = [newKey(), ...keys]; serve = configure(); return '{}'; },
  'POST /test/drop': () => { keys = keys.slice(0, 1); serve = configure(); return '{}'; },
  'POST /test/pause': (query) => { pause = Number(query.get('ms')); return '{}'; },
  'GET /test/fetches': () => JSON.stringify({ fetches }),
};

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  const test = tests[`${request.method} ${pathname}`];
  if (test) {
    try {
      response.end(await test(searchParams));
    } catch (error) {
      response.statusCode = 500;
      response.end(String(error));
    }
    return;
  }
  if (pathname === '/jwks') {
    fetches += 1;
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
  serve(request, response);
});

server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  serve = configure();
  console.log(`READY ${issuer}`);
});
