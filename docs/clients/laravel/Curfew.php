<?php

declare(strict_types=1);

namespace App\Services;

/**
 * Curfew for Laravel: app/Services/Curfew.php, with CurfewNotConfirmed.php and CurfewSessionMissing.php beside
 * it. It needs PHP 8.1 and no package.
 *
 * In config/services.php:
 *
 *     'curfew' => [
 *         'publicUrl' => env('CURFEW_PUBLIC_URL'),      // Envoy, such as https://edge.example.com
 *         'internalUrl' => env('CURFEW_INTERNAL_URL'),  // the internal listener, such as http://curfew.example.com:8081
 *         'secret' => env('CURFEW_INTERNAL_SECRET'),
 *         'appId' => env('CURFEW_APP_ID'),
 *         'appKey' => env('CURFEW_APP_KEY'),
 *     ],
 *
 * In App\Providers\AppServiceProvider::register():
 *
 *     $this->app->singleton(Curfew::class, fn () => new Curfew(...config('services.curfew')));
 *
 * It sends with PHP's own streams. The argument `send` replaces that, for tests or for Laravel's Http: it gets the URL, the
 * headers by name and the body, and returns [status, Retry-After or null, body], or null without an answer. It must not
 * follow redirects.
 */
final class Curfew
{
    /** 200: no Envoy admits the token any more. */
    public const LOGGED_OUT = 'logged_out';

    /** 401 token_revoked: it was logged out before. After logoutAllDevices, this says nothing about the other devices. */
    public const ALREADY_LOGGED_OUT = 'already_logged_out';

    /** The token has expired or is invalid, or there is none: there was nothing to log out. */
    public const REFUSED = 'refused';

    /** How much `logout` logs out: the token, all of its session, all of the user's but this session, all of the user's. */
    private const SCOPES = ['token', 'session', 'others', 'global'];

    private const ATTEMPTS = 3;
    private const LONGEST_WAIT_S = 10;
    private const AGAIN = [429, 502, 503, 504];

    public function __construct(
        private readonly string $publicUrl,
        private readonly string $internalUrl,
        #[\SensitiveParameter] private readonly string $secret,
        private readonly string $appId,
        #[\SensitiveParameter] private readonly string $appKey,
        private readonly float $timeout = 15.0,
        private readonly ?\Closure $send = null,
    ) {
    }

    /**
     * Logs out one token, or with a scope another part: `token`, `session`, `others` or `global`. After `others` this token
     * is still good: keep it.
     *
     * @throws CurfewNotConfirmed if that did not happen, or if nobody knows
     * @throws CurfewSessionMissing with the scope `session`, if the token names no session: nothing was logged out
     */
    public function logout(#[\SensitiveParameter] ?string $token, ?string $scope = null): string
    {
        if ($scope === null) {
            return $this->logoutWith('/api/v2/logout', $token);
        }
        if (! in_array($scope, self::SCOPES, true)) {
            throw new \InvalidArgumentException('logout: no such scope');
        }
        return $this->logoutWith("/api/v2/logout?scope=$scope", $token, $scope);
    }

    /**
     * Logs out all tokens of the token's user.
     *
     * @throws CurfewNotConfirmed
     */
    public function logoutAllDevices(#[\SensitiveParameter] ?string $token): string
    {
        return $this->logoutWith('/api/v2/logout-all-device', $token);
    }

    /**
     * Logs out a user everywhere, without a token: password change, block, deletion.
     *
     * @return array{tokens: int, known: bool}
     * @throws CurfewNotConfirmed
     */
    public function logoutUser(#[\SensitiveParameter] int|string $userId): array
    {
        if (trim((string) $userId) === '') {
            throw new \InvalidArgumentException('logoutUser: no user is given');
        }
        $body = ['user_id' => (string) $userId, 'app_id' => $this->appId, 'app_key' => $this->appKey];
        [$status, $retryAfter, $json] = $this->post($this->internalUrl.'/api/v2/lgt-all', null, $body);
        if (! self::saysLoggedOut($status, $json)) {
            throw self::notConfirmed('The logout of the user is NOT confirmed', $status, $retryAfter, $json);
        }
        return ['tokens' => (int) ($json['tokens'] ?? 0), 'known' => (bool) ($json['known'] ?? false)];
    }

    /**
     * At login and refresh, before the token is handed out.
     *
     * @throws CurfewNotConfirmed if the token is not registered, or is logged out already: then do not hand it out
     */
    public function register(#[\SensitiveParameter] string $token, ?string $userAgent = null, ?string $ip = null): void
    {
        $device = ['token' => $token, 'user_agent' => substr((string) $userAgent, 0, 170)] + ($ip ? ['ip' => $ip] : []);
        $url = $this->internalUrl.'/internal/v1/tokens';
        [$status, $retryAfter, $json] = $this->post($url, $this->secret, ['tokens' => [$device]]);
        if ($status !== 200 || ($json['revoked'] ?? null) !== 0) {
            $dead = $status === 200 && ($json['revoked'] ?? 0) > 0;
            $what = $dead ? 'The token is logged out already: issue another one' : 'The token is NOT registered';
            throw self::notConfirmed($what, $status, $retryAfter, $json);
        }
    }

    /** What dd() and dump() show: no secrets. */
    public function __debugInfo(): array
    {
        return ['publicUrl' => $this->publicUrl, 'internalUrl' => $this->internalUrl];
    }

    private function logoutWith(string $path, #[\SensitiveParameter] ?string $text, ?string $scope = null): string
    {
        // Without white space around it, and without `Bearer` before it.
        $token = rtrim(preg_replace('~\A\s*(bearer\s+)?~i', '', (string) $text), " \t\n\r\f\v");
        // Only these characters are in a token. A line break would begin another header.
        if (! preg_match('~\A[A-Za-z0-9._\~+/=-]+\z~', $token)) {
            return self::REFUSED;
        }
        [$status, $retryAfter, $json] = $this->post($this->publicUrl.$path, $token, null);
        $problem = self::problem($json);
        $saysLoggedOut = self::saysLoggedOut($status, $json);
        return match (true) {
            $saysLoggedOut && self::isOfScope($scope, $json) => self::LOGGED_OUT,
            $saysLoggedOut => throw self::notConfirmed(
                'The logout is NOT confirmed, because the answer is for another scope', $status, $retryAfter, $json
            ),
            $status === 401 && $problem === 'token_revoked' => self::ALREADY_LOGGED_OUT,
            $status === 401 && str_starts_with($problem, 'token_') => self::REFUSED,
            $status === 400 && $problem === 'session_missing' => throw new CurfewSessionMissing(),
            default => throw self::notConfirmed(
                'The logout is NOT confirmed, and the token may still be valid', $status, $retryAfter, $json
            ),
        };
    }

    /** The answer of another program, such as a page for every path, is no confirmation. */
    private static function saysLoggedOut(int $status, array $json): bool
    {
        $message = $json['message'] ?? '';
        return $status === 200 && is_string($message) && str_starts_with($message, 'Successfully Logged Out');
    }

    /** An older control plane ignores the scope, and logs out the token alone. */
    private static function isOfScope(?string $scope, array $json): bool
    {
        return $scope === null || ($json['scope'] ?? null) === ($scope === 'token' ? null : $scope);
    }

    /** The stable code of an answer, or nothing. */
    private static function problem(array $json): string
    {
        $code = $json['code'] ?? '';
        return is_string($code) ? $code : '';
    }

    private static function makesSenseAgain(int $status): bool
    {
        return $status === 0 || in_array($status, self::AGAIN, true);
    }

    private static function notConfirmed(string $what, int $status, ?int $retryAfter, array $json): CurfewNotConfirmed
    {
        $problem = self::problem($json);
        $answer = $status === 0 ? 'no answer' : trim("$status $problem");
        $again = self::makesSenseAgain($status) ? ' Try again.' : '';
        return new CurfewNotConfirmed("$what ($answer).$again", $retryAfter, $status, $problem ?: null);
    }

    /** @return array{int, ?int, array} status (0 without an answer), Retry-After in seconds, the body */
    private function post(string $url, #[\SensitiveParameter] ?string $bearer, #[\SensitiveParameter] ?array $body): array
    {
        $headers = ($bearer === null ? [] : ['Authorization' => "Bearer $bearer"])
            + ($body === null ? [] : ['Content-Type' => 'application/json']);
        $content = $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
        $send = $this->send ?? $this->byStream(...);
        for ($attempt = 1; ; $attempt++) {
            [$status, $after, $text] = $send($url, $headers, $content) ?? [0, null, ''];
            $retryAfter = ctype_digit((string) $after) ? (int) $after : null;
            $wait = $retryAfter ?? 1;
            if (! self::makesSenseAgain($status) || $attempt === self::ATTEMPTS || $wait > self::LONGEST_WAIT_S) {
                $json = json_decode($text, true);
                return [$status, $retryAfter, is_array($json) ? $json : []];
            }
            sleep($wait);
        }
    }

    /** @return ?array{int, ?string, string} */
    private function byStream(string $url, #[\SensitiveParameter] array $headers, #[\SensitiveParameter] string $body): ?array
    {
        $lines = array_map(fn ($name, $value) => "$name: $value", array_keys($headers), $headers);
        $stream = @fopen($url, 'r', false, stream_context_create(['http' => [
            'method' => 'POST',
            'header' => [...$lines, 'Connection: close'],
            'content' => $body,
            'timeout' => $this->timeout,
            'ignore_errors' => true,    // an error has a body, too
            'follow_location' => 0,     // a login page behind a redirect would answer 200
        ]]));
        if ($stream === false) {
            return null;
        }
        $head = stream_get_meta_data($stream)['wrapper_data'] ?? [];
        $text = (string) stream_get_contents($stream);
        fclose($stream);
        $after = preg_grep('/\Aretry-after:/i', $head);
        $after = $after ? trim(explode(':', end($after), 2)[1]) : null;
        return [(int) (explode(' ', $head[0] ?? '')[1] ?? 0), $after, $text];
    }
}
