<?php

declare(strict_types=1);

namespace App\Services;

/** Nobody has confirmed the call. After a logout, the token may still be valid: app/Services/CurfewNotConfirmed.php. */
final class CurfewNotConfirmed extends \RuntimeException
{
    /**
     * @param ?int $retryAfter after how many seconds another attempt makes sense, if the answer said so
     * @param int $status of the last answer, 0 if there was none
     * @param ?string $problem its stable code, such as `unavailable`; PHP's own `$code` of errors is a number
     */
    public function __construct(
        string $message,
        public readonly ?int $retryAfter = null,
        public readonly int $status = 0,
        public readonly ?string $problem = null,
    ) {
        parent::__construct($message);
    }
}
