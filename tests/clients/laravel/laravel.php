<?php

// Stand-ins for the parts of Laravel and jwt-auth that docs/clients/laravel/AuthController.php calls.

declare(strict_types=1);

namespace Illuminate\Http {
    final class Request
    {
        public function bearerToken(): string
        {
            return 'old.access.token';
        }

        public function userAgent(): string
        {
            return 'a device';
        }

        public function ip(): string
        {
            return '::1';
        }
    }

    final class JsonResponse
    {
        public bool $deletesCookie = false;

        public function __construct(public readonly array $body)
        {
        }

        public function withoutCookie(string $name): self
        {
            $this->deletesCookie = $name === 'token';
            return $this;
        }

        public function header(string $name, string $value): self
        {
            return $this;
        }
    }
}

namespace Tymon\JWTAuth\Exceptions {
    class JWTException extends \Exception
    {
    }

    class TokenExpiredException extends JWTException
    {
    }

    class TokenInvalidException extends JWTException
    {
    }

    class TokenBlacklistedException extends TokenInvalidException
    {
    }
}

namespace {
    use Illuminate\Http\JsonResponse;
    use Tymon\JWTAuth\Exceptions as Jwt;

    final class Aborted extends Exception
    {
        public function __construct(public readonly int $status, string $why, public readonly array $headers)
        {
            parent::__construct($why);
        }
    }

    /** The guard and the manager of jwt-auth, for a token that is `good`, `expired`, `ended` or `invalid`, or in a fault. */
    final class Guard
    {
        public static self $current;
        public bool $hasEnded = false;
        public bool $isRefreshFlow = false;
        public array $reported = [];

        public function __construct(private readonly string $state)
        {
        }

        public function manager(): self
        {
            return $this;
        }

        public function setRefreshFlow(bool $flow = true): self
        {
            $this->isRefreshFlow = $flow;
            return $this;
        }

        public function setToken(string $token): self
        {
            return $token === 'old.access.token' ? $this : throw new Jwt\TokenInvalidException('Wrong number of segments');
        }

        /** Like the real one, it does not ask whether the token has ended before. */
        public function logout(): void
        {
            if ($this->state !== 'ended') {
                $this->decode();
            }
            $this->hasEnded = true;
        }

        public function refresh(): string
        {
            $this->isRefreshFlow = true;
            $this->decode();
            $this->hasEnded = true;
            return 'new.access.token';
        }

        private function decode(): void
        {
            match ($this->state) {
                'good' => null,
                'expired' => $this->isRefreshFlow ?: throw new Jwt\TokenExpiredException('Token has expired'),
                'ended' => throw new Jwt\TokenBlacklistedException('The token has been blacklisted'),
                'invalid' => throw new Jwt\TokenInvalidException('Token Signature could not be verified.'),
                'no-cache' => throw new RuntimeException('The cache is away.'),
                'no-blacklist' => throw new Jwt\JWTException('You must have the blacklist enabled to invalidate a token.'),
            };
        }
    }

    function auth(string $guard): Guard
    {
        return Guard::$current;
    }

    function abort(int $status, string $why = '', array $headers = []): never
    {
        throw new Aborted($status, $why, $headers);
    }

    function report(Throwable $error): void
    {
        Guard::$current->reported[] = $error->getMessage();
    }

    function response(): object
    {
        return new class () {
            public function json(array $body): JsonResponse
            {
                return new JsonResponse($body);
            }
        };
    }
}
